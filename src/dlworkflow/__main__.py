"""`python -m dlworkflow` is `dlw`."""

from dlworkflow.cli.app import main

if __name__ == "__main__":
    main()
