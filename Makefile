# make test needs nothing but Go (and, once, the network for modules).

GO ?= go
TESTFLAGS ?=
FUZZSECONDS ?= 5
EDGES ?= 3
EDGED ?= edged
LAB = $(GO) build -o "$$0" ./test/lab/start && exec "$$0" --edges $(EDGES)
TOOL = $(GO) tool -modfile=go.tool.mod

.PHONY: build test ci lint fuzz cross generate lab bench-lookup bench-answers bench-hostile

# GoBGP's gRPC brings a tracing page in, and with it templates, for which the linker
# has to keep every exported method of every type: a quarter of the program.
build: ## one static binary, ./edged or what EDGED names
	CGO_ENABLED=0 $(GO) build -trimpath -tags grpcnotrace -o $(EDGED) ./cmd/edged

test: ## all tests; those that need a program which is not installed skip and say so
	$(GO) test $(TESTFLAGS) ./...

ci: ## what CI does; installs the missing peers with apt
	.ci/run

lint: ## format, vet, staticcheck
	@unformatted=$$($(TOOL) gofumpt -l .); test -z "$$unformatted" || { echo "run gofumpt on:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...

fuzz: ## every fuzz target for FUZZSECONDS
	.ci/fuzz $(FUZZSECONDS)

cross: ## other systems: build, and vet with the tests
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/edged
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/edged
	GOOS=freebsd GOARCH=amd64 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/edged
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) vet ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) vet ./...
	GOOS=freebsd GOARCH=amd64 CGO_ENABLED=0 $(GO) vet ./...

generate: ## the built-in country data; COUNTRY_DATA names the unpacked npm package
	$(GO) generate ./...

# The lab, and its build, is a job of its own on a terminal, so that Ctrl-C ends it in
# order and is no interrupt of make, nor of go run, both of which would end with an
# error. 130 is that of a build.
lab: ## an anycast network to try things in, until Ctrl-C; EDGES says how many edges
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && trap 'exit 129' HUP && trap 'exit 143' TERM && \
	if [ -t 0 ]; then bash -mc '($(LAB)); exit $$?' "$$dir/lab" || test $$? -eq 130; else bash -c '$(LAB)' "$$dir/lab"; fi

bench-lookup: ## map lookups beside bart
	$(GO) run ./bench/lookup

bench-answers: ## CPU per answer beside gdnsd, Knot, PowerDNS, NSD and a bare echo
	$(GO) run ./bench/answers

bench-hostile: ## ten minutes of malformed packets and slow TCP
	$(GO) run ./bench/hostile
