"""``python -m qmanet_benco.cli`` is the command ``qmanet``."""

from qmanet_benco.cli.main import main

if __name__ == "__main__":
    main()
