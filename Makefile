# SPDX-License-Identifier: Apache-2.0
#
#     make               the program: build/spaceport
#     make install       it, its manual pages and completions (PREFIX=/usr/local, DESTDIR=)
#     make demo          install what is missing, build, run an example Space
#     make test          install what is missing, run every test
#     make check         formatting, layers, static analysis
#     make fuzz          every fuzzer for ten minutes (FUZZ_SECONDS=600)
#     make bench         the same Space with Spaceport and with Docker, as a table (as root)
#     make test-guide    the whole example with PyTorch: downloads gigabytes
#     make clean

PREFIX ?= /usr/local
FUZZ_SECONDS = 600

all: build/build.ninja
	@ninja -C build spaceport

build/build.ninja:
	@tools/setup build
	@meson setup build --buildtype=release -Dtests=disabled --prefix=$(PREFIX)

install: all
	@meson configure build --prefix=$(PREFIX)
	@DESTDIR=$(DESTDIR) meson install -C build --quiet

demo:
	@tools/demo

test:
	@tools/setup test
	@tools/test

check:
	@tools/check

fuzz:
	@tools/fuzz $(FUZZ_SECONDS)

bench: all
	@tools/setup bench
	@bench/run

test-guide: all
	@tools/setup test
	@tools/test guide

clean:
	@rm -rf build build-test-gcc build-test-clang build-fuzz build-ci

.PHONY: all install demo test check fuzz bench test-guide clean
