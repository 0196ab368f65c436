"""For connector authors: contract suite, recorder, vendor simulator."""
