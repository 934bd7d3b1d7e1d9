"""The pure core: it plans and decides from recorded facts alone. Standard library only, no clock."""
