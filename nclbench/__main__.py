"""`python -m nclbench` is `nclbench`."""

from nclbench.cli import main

if __name__ == "__main__":
    main()
