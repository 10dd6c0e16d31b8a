# SPDX-License-Identifier: MIT
# A short front for CMake. `make` builds, `make run PROMPT="…"` tells a story, `make check` tests.

PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

# The prompt goes to the program through the environment, as it was typed: `value` keeps its dollar signs
# from make, and without MAKEOVERRIDES the makes below this one do not read it again.
ifeq ($(origin PROMPT),undefined)
PROMPT := Once upon a time
else
override PROMPT := $(value PROMPT)
endif
export PROMPT
MAKEOVERRIDES =
MAKEFLAGS += --no-print-directory

BUILD = JOBS=$(JOBS) tools/build.sh

.PHONY: all run check check-long asan tsan fuzz bench-compare bench-typing bench-serve bench-train bench-decode check-schemas install uninstall format lint deps clean help

all:
	@tools/install-deps.sh build
	@$(BUILD) release

run:
	@tools/install-deps.sh build
	@$(BUILD) release >&2
	@build/release/bin/inkling complete --echo -- "$$PROMPT"

# Every test: release, once more by clang where there is one, then under AddressSanitizer and
# UndefinedBehaviorSanitizer, then what has threads under ThreadSanitizer.
check:
	@tools/install-deps.sh check
	@JOBS=$(JOBS) tools/check.sh

check-long:
	@tools/install-deps.sh check
	@JOBS=$(JOBS) INKLING_TEST_LONG=1 tools/check.sh

asan tsan:
	@tools/install-deps.sh check
	@JOBS=$(JOBS) tools/check.sh $@

# make fuzz TARGET=gguf SECONDS=60
TARGET ?=
SECONDS ?= 60
fuzz:
	@tools/install-deps.sh check
	@JOBS=$(JOBS) tools/fuzz.sh "$(TARGET)" "$(SECONDS)"

# Beside llama.cpp, which comes from npm: make bench-compare ARGS=--quick
bench-compare:
	@tools/install-deps.sh build
	@JOBS=$(JOBS) bench/compare.sh $(ARGS)

# Recorded typing, beside llama.cpp where ARGS name a program for that: bench/typing/compare.sh --help
bench-typing:
	@tools/install-deps.sh build
	@JOBS=$(JOBS) bench/typing/compare.sh $(ARGS)

# What HTTP costs and eight streams gain, beside llama.cpp too: make bench-serve ARGS=--quick
bench-serve:
	@tools/install-deps.sh build
	@JOBS=$(JOBS) bench/serve/compare.sh $(ARGS)

# A thousand random schemas, judged by ajv (needs node and npm): make check-schemas ARGS="1000 7"
check-schemas:
	@tools/install-deps.sh build
	@tests/oracle/schemas.sh $(ARGS)

# Sampling, grammars, saved sessions and speculation beside plain decoding
bench-decode:
	@tools/install-deps.sh build
	@JOBS=$(JOBS) bench/decode/run.sh $(ARGS)

# Training steps beside PyTorch's, where that is: make bench-train ARGS=--quick
bench-train:
	@tools/install-deps.sh build
	@JOBS=$(JOBS) bench/train/compare.sh $(ARGS)

install: all
	@DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)"
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ! command -v ldconfig >/dev/null || ldconfig

uninstall:
	@DESTDIR="$(DESTDIR)" tools/uninstall.sh build/release/install_manifest.txt

format:
	@git ls-files '*.c' '*.h' | grep -v 'tables\.[ch]' | xargs clang-format -i

lint:
	@tools/install-deps.sh lint
	@JOBS=$(JOBS) tools/lint.sh

deps:
	@tools/install-deps.sh check

clean:
	@rm -rf build

help:
	@echo 'make                  build the libraries and the program into build/release'
	@echo 'make run PROMPT="…"   continue a text with the built-in model'
	@echo 'make check            every test, at most 15 minutes; check-long: with what it leaves out'
	@echo 'make asan | tsan      the tests under one sanitizer only'
	@echo 'make fuzz TARGET=x SECONDS=60'
	@echo 'make bench-compare    speed beside llama.cpp (from npm); on an idle machine'
	@echo 'make bench-typing     what a key costs in a typing session; on an idle machine'
	@echo 'make bench-serve      what HTTP costs, what streams side by side gain; on an idle machine'
	@echo 'make bench-train      training beside PyTorch; on an idle machine'
	@echo 'make install [PREFIX=/usr/local] [DESTDIR=]; make uninstall'
	@echo 'make format | lint | deps | clean'
