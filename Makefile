# The tasks of this repository. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run demo build test test-unit test-feature test-mysql test-cluster test-contract fuzz soak load load-mysql bench bench-mysql bench-postgres bench-guard bench-realtime bench-watched lint fmt vulncheck
.PHONY: setup up down logs release-check clean

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)
FUZZTIME  ?= 30s
SOAK      ?= 10m
LOAD_SOAK ?= 30s

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Start a server on 127.0.0.1:8000 with its data in orderflow.db; an empty one gets sample data
	bin/orderflow serve --samples

demo: build ## Show a one-minute tour on a temporary database
	bin/orderflow demo

build: ## Build the static binary bin/orderflow
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/orderflow ./cmd/orderflow

test: ## Run all tests under the race detector, in random order; installs missing software
	scripts/test-deps.sh
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 14m ./...

# The packages whose tests need servers.
SERVED = $(shell grep -rl --include='*_test.go' -e orderflow/test/servers -e orderflow/test/env internal test | xargs -n 1 dirname | sort -u | sed 's|^|orderflow/|')

test-unit: ## Run the tests that need only Go and a C compiler
	CGO_ENABLED=1 $(GO) test -race -shuffle=on $(filter-out $(SERVED),$(shell $(GO) list ./...))

test-feature: ## Run the tests that need MySQL and Redis: private servers, or those of ORDERFLOW_TEST_MYSQL and _REDIS
	scripts/test-deps.sh
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 14m $(SERVED)

test-mysql: ## Run the tests of store, databases, application, chaos and command line on MySQL; fetches the server on first use
	scripts/test-deps.sh
	mysql="$$(scripts/mysql.sh)" && ORDERFLOW_TEST_MYSQL= ORDERFLOW_TEST_MYSQLD="$$mysql" CGO_ENABLED=1 \
		$(GO) test -race -shuffle=on -timeout 14m ./internal/store ./internal/sqldb ./internal/app ./test/chaos ./internal/cli ./test/servers/...

test-cluster: ## Test over clusters: Galera, Redis Cluster, Sentinel; installs missing software
	scripts/test-deps.sh cluster
	CGO_ENABLED=1 $(GO) test -race -tags cluster -count=1 -timeout 10m -v -run '^TestCluster' ./test/chaos

test-contract: build ## Test servers on SQLite and MySQL with clients of other projects; installs missing software
	scripts/test-deps.sh contract
	DATABASE_URL= REDIS_URL= scripts/contract.sh
	$(GO) run ./cmd/with-servers scripts/contract.sh

fuzz: ## Fuzz every target for FUZZTIME (30s) each
	scripts/fuzz.sh $(FUZZTIME)

soak: ## Run the chaos tests for SOAK (10m) each
	scripts/test-deps.sh
	ORDERFLOW_SOAK=$(SOAK) CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 0 -v -run 'Chaos|Soak' ./...

load: build ## Run the k6 tests of load-tests on a private server, then the audit; builds k6 on first use
	DATABASE_URL= REDIS_URL= SOAK=$(LOAD_SOAK) scripts/load.sh

load-mysql: build ## The same over MySQL and Redis, on a private server of each
	scripts/test-deps.sh
	SOAK=$(LOAD_SOAK) $(GO) run ./cmd/with-servers scripts/load.sh

bench: build ## Measure all figures on this machine, as one table
	DATABASE_URL= REDIS_URL= bin/orderflow bench --table

bench-mysql: build ## The same over MySQL and Redis, on a private server of each
	scripts/test-deps.sh
	$(GO) run ./cmd/with-servers bin/orderflow bench --table

bench-postgres: build ## The same over PostgreSQL and Redis, on a private server of each
	scripts/test-deps.sh
	$(GO) run ./cmd/with-servers --postgres bin/orderflow bench --table

bench-guard: ## Compare the processor time of an order with that of commit BASE, on the LOADS (all) whose names contain these words
	scripts/test-deps.sh
	@scripts/bench-guard.sh "$(BASE)" $(if $(LOADS),--loads '$(LOADS)')

bench-realtime: build ## Measure fan-out over WebSockets beside socket.io 4; needs node and npm
	scripts/test-deps.sh
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "socket.io needs node and npm: install them and try again." >&2; exit 1; }
	cd cmd/bench-realtime/socketio && npm ci --no-audit --no-fund
	DATABASE_URL= REDIS_URL= $(GO) run ./cmd/bench-realtime

bench-watched: build ## Measure the cost of traces and of ten viewers of the console
	DATABASE_URL= REDIS_URL= $(GO) run ./cmd/bench-watched

lint: ## Check style, common mistakes and dead code; builds the linters on first use
	"$$(scripts/tool.sh golangci-lint)" run ./...
	@dead="$$("$$(scripts/tool.sh deadcode)" -tags cluster -test ./...)" && test -z "$$dead" || { echo "$$dead"; exit 1; }
	"$$(scripts/tool.sh actionlint)"

vulncheck: ## Check dependencies and the standard library for known vulnerabilities; asks vuln.go.dev
	"$$(scripts/tool.sh govulncheck)" ./...

fmt: ## Format all Go files
	"$$(scripts/tool.sh golangci-lint)" fmt ./...

setup: ## Write .env with generated secrets, for the containers
	scripts/setup.sh

up: setup ## Build and start all six services in containers, and wait until they are healthy
	VERSION=$(VERSION) docker compose up -d --build --wait

down: ## Stop the containers and keep their data
	docker compose down

logs: ## Follow the logs of the containers
	docker compose logs -f --tail 100

release-check: ## Check a release: a clean tree, a tag with its section in CHANGELOG.md, binaries that cross-compile
	scripts/release.sh check

clean: ## Remove built files
	rm -rf bin dist
