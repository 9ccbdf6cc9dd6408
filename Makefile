# The project's commands under short names. The scripts behind them make their own environment in .venv.
.DEFAULT_GOAL := help
.PHONY: help quickstart check slow docs package

help: ## show this list
	@sed -n 's/^\([a-z]*\): ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

quickstart: ## set everything up, then: forgeries, training, test, attacks, a table and a picture
	runs/quickstart.sh

check: ## set everything up, then: linters, types, import contracts, documentation, tests
	runs/check.sh

slow: ## the tests marked slow, for the night
	runs/check.sh -m slow

docs: ## show the documentation as a site on this computer (in an environment with the extra [docs])
	NO_MKDOCS_2_WARNING=1 mkdocs serve

package: ## build an sdist and a wheel into dist/
	python -m pip wheel --no-deps --wheel-dir dist .
	python -c "from setuptools.build_meta import build_sdist; build_sdist('dist')"
