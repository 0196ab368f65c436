"""`tidelock init`: what must be there before anything else."""

from sync.cli.output import Form, Output, emit, say
from sync.settings import settings
from sync.store import migrations
from sync.store.database import engine, read
from sync.vault import load_keys


def init(output: Output = Form.TABLE) -> None:
    """Make the home folder and its key, and migrate the database. Safe to call again."""
    settings().home.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys = len(load_keys(settings()))
    database = engine().url.render_as_string()
    with migrations.reaching(engine()), read() as connection:
        version = ".".join(map(str, migrations.version(connection)))
    migrations.upgrade()
    home = str(settings().home.absolute())
    answer = {"home": home, "keys": keys, "database": database, "server": version, "version": migrations.head()}
    emit(output, answer)
    if output is Form.TABLE:
        say(f"{database} is at version {migrations.head()}. Home: {home}. Next: `tidelock connectors`.")
