"""`python -m dataforge.cli`: the command line where no console script is at hand, as under the supervisor."""

from dataforge.cli.main import main

if __name__ == "__main__":
    main()
