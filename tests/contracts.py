"""Two contracts that import-linter lacks. pyproject.toml says what they hold."""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class Found(Contract):
    """A contract that lists direct imports which should not be, as `(importer, imported)`."""

    def unwanted(self, graph: ImportGraph) -> set[tuple[str, str]]:
        """The imports that break it."""
        raise TypeError(f"{type(self).__name__} does not say which imports break it")

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        found = sorted(self.unwanted(graph))
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported in check.metadata["found"]:
            output.print_error(f"{importer} imports {imported}", bold=False)


class Strangers(Found):
    """Children of `container` import each other only where the other's name begins with an underscore."""

    type_name = "strangers"
    container = fields.StringField()

    def unwanted(self, graph: ImportGraph) -> set[tuple[str, str]]:
        container = str(self.container)
        vendors = {name for name in graph.find_children(container) if not _own(name).startswith("_")}
        return {
            (importer, imported)
            for vendor in graph.find_children(container)
            for importer in {vendor, *graph.find_descendants(vendor)}
            for imported in graph.find_modules_directly_imported_by(importer)
            if _child(imported, container) in vendors - {vendor}
        }


class Alone(Found):
    """`module` and what is in it import nothing of the root packages but each other; it may be missing."""

    type_name = "alone"
    module = fields.StringField()

    def unwanted(self, graph: ImportGraph) -> set[tuple[str, str]]:
        module = str(self.module)
        inside = {module, *graph.find_descendants(module)} if module in graph.modules else set()
        ours = {root.split(".")[0] for root in self.session_options["root_packages"]}
        return {
            (importer, imported)
            for importer in inside
            for imported in graph.find_modules_directly_imported_by(importer) - inside
            if imported.split(".")[0] in ours
        }


def _own(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _child(name: str, container: str) -> str:
    """The child of the container that this module is or is in."""
    depth = container.count(".") + 2
    return ".".join(name.split(".")[:depth])
