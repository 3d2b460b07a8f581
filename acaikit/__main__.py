"""``python -m acaikit``."""

from acaikit.cli import main

if __name__ == "__main__":
    main()
