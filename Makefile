# firn's commands for people; `make` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO       ?= go
TOOL     := $(GO) tool -modfile=internal/tools/go.mod
PROGRAMS := $(notdir $(wildcard cmd/*))
# FUZZTIME is how long `make fuzz` gives each target.
FUZZTIME ?= 1m
# PEERS are programs of others that the demo and tests run; they are in a module of
# their own, internal/peers.
PEERS    := $(addprefix filippo.io/torchwood/cmd/,litewitness witnessctl)
# REKOR is the version of the peer that `make bench` measures beside firn-log.
REKOR    := v2.3.0

# Git is asked about this checkout also if it belongs to another user, as in a
# container: whoever runs its Makefile trusts it already.
ifndef GIT_CONFIG_COUNT
export GIT_CONFIG_COUNT   := 1
export GIT_CONFIG_KEY_0   := safe.directory
export GIT_CONFIG_VALUE_0 := $(CURDIR)
endif

.PHONY: help
help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-8s %s\n", $$1, $$2 }'

.PHONY: build
build: ## build the programs into bin/ (static, stripped)
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o bin/ ./cmd/...

.PHONY: demo
demo: ## builders, a log, witnesses, an auditor and verdicts, on this machine; KEEP=1 leaves it up
	@deploy/apt.sh --demo
	@$(MAKE) --no-print-directory build
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o bin/ ./deploy/demo/cheat
	@CGO_ENABLED=0 $(GO) build -C internal/peers -o $(CURDIR)/bin/ $(PEERS) || echo "litewitness cannot be built here"
	@KEEP=$(KEEP) deploy/demo/run.sh

.PHONY: test
test: setup lint ## set up, lint and run every test
	$(GO) test -timeout 20m ./...

.PHONY: setup
setup: ## install what the tests use (as root), or say what is missing
	@deploy/apt.sh

.PHONY: lint
lint: ## vet, staticcheck, gofumpt, govulncheck and go.mod
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	@unformatted=$$(git ls-files '*.go' | xargs -r $(TOOL) gofumpt -l); \
	  if [[ -n $$unformatted ]]; then echo "not formatted by gofumpt:"; echo "$$unformatted"; exit 1; fi
	internal/tools/vulncheck.sh ./...
	$(GO) mod tidy -diff
	$(GO) -C internal/tools mod tidy -diff
	$(GO) -C internal/peers mod tidy -diff
	$(GO) -C internal/peers vet ./...

.PHONY: format
format: ## format every Go file
	@git ls-files '*.go' | xargs -r $(TOOL) gofumpt -w

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (1m)
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
	  for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | sed 's/^func //'); do \
	    echo "fuzz $$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$dir"; \
	  done; done

.PHONY: soak
soak: ## the long crash and load tests
	FIRN_SOAK=1 $(GO) test -count=1 -timeout 2h -run 'Soak|Kill|PowerCut' -v ./...

.PHONY: bench
bench: build ## measure, beside peers and limits; writes bench/RESULTS.md
	@deploy/apt.sh
	@CGO_ENABLED=0 $(GO) build -C internal/peers -o $(CURDIR)/bench/out/ $(PEERS) ./torchtrie
	GOBIN=$(CURDIR)/bench/out $(GO) install github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix@$(REKOR)
	$(GO) run ./bench -rekor bench/out/posix -litewitness bench/out/litewitness -torchtrie bench/out/torchtrie

.PHONY: clean
clean: ## remove what was built
	rm -rf bin bench/out
