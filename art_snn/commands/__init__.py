"""The commands of ``art-snn``, a module each."""
