#!/usr/bin/env bash
# What a build needs from the system: cargo (Rust 1.95 or newer), a C++ compiler, libclang.
# On Debian and its kin, as root, the last two are installed; otherwise each missing one is named with its command.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=0
want() { echo "missing: $1" >&2; echo "    $2" >&2; missing=1; }

as_root=""
if command -v apt-get >/dev/null; then
  if [ "$(id -u)" = 0 ]; then as_root="env"; elif sudo -n true 2>/dev/null; then as_root="sudo"; fi
fi
install_debian() { # PACKAGE...
  echo "installing: $*"
  $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

have_cxx() { command -v "${CXX:-g++}" >/dev/null && command -v cc >/dev/null && command -v ar >/dev/null; }
have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] || ldconfig -p 2>/dev/null | grep 'libclang[-.0-9]*\.so' >/dev/null ||
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
    compgen -G '/usr/lib/*/libclang[-.]*so*' >/dev/null ||
    [ -e /Library/Developer/CommandLineTools/usr/lib/libclang.dylib ]
}

have_cxx || { [ -z "$as_root" ] || install_debian g++ libc6-dev binutils; }
have_cxx || want "a C++20 compiler with cc and ar" "Debian, Ubuntu: sudo apt-get install g++    macOS: xcode-select --install"
have_libclang || { [ -z "$as_root" ] || install_debian libclang-dev; }
have_libclang || want "libclang (bindings to RocksDB are generated with it)" "Debian, Ubuntu: sudo apt-get install libclang-dev    Fedora: sudo dnf install clang-devel    macOS: brew install llvm"

needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! command -v cargo >/dev/null; then
  want "cargo (Rust $needed or newer)" "https://rustup.rs, then: rustup toolchain install stable"
else
  found=$(rustc --version | cut -d' ' -f2)
  [ "$(printf '%s\n%s\n' "$needed" "${found%%-*}" | sort -V | head -n 1)" = "$needed" ] ||
    want "Rust $needed or newer (found $found)" "rustup update stable"
fi
exit "$missing"
