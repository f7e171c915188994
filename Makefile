# make test    everything, browser and PostgreSQL included; installs what is missing
# make quick   what needs nothing but Go, in under a minute
# make check   the whole gate before a change is proposed
# make build   dist/clerestory, the same bytes for the same commit

GO     ?= go
FLAGS  := -trimpath -buildvcs=false -ldflags=-buildid=
NESTED := internal/ledger/witness/interop internal/office/advisory/interop

.PHONY: build test quick race check fuzz generate install

build:
	CGO_ENABLED=0 $(GO) build $(FLAGS) -o dist/clerestory ./cmd/clerestory

install:
	.ci/install

test: install
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 CLERESTORY_TEST_ALL=1 $(GO) test ./...
	for m in $(NESTED); do (cd $$m && CGO_ENABLED=0 $(GO) test ./...) || exit 1; done

quick:
	CGO_ENABLED=0 $(GO) test -short ./...

race: install
	CLERESTORY_TEST_ALL=1 $(GO) test -race -short ./...

# Each fuzz target for a few seconds; FUZZTIME=10m for a real hunt.
FUZZTIME ?= 5s
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg || exit 1; \
		done; \
	done

# Templates and the verifier in the browser; a difference means that they were
# not made from this source.
generate:
	$(GO) generate ./internal/window/portal/...

check: test race
	test -z "$$(gofmt -l .)"
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	$(GO) run golang.org/x/vuln/cmd/govulncheck@latest ./... || echo "govulncheck could not run here"
	$(MAKE) generate && git diff --exit-code
	$(MAKE) fuzz
