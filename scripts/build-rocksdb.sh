#!/usr/bin/env bash
# Builds the vendored RocksDB of `librocksdb-sys` as a few combined units (about 5 minutes on two cores instead of 23)
# into a cache outside target/, and writes the git-ignored .cargo/config.toml through which cargo finds the archive.
# One archive serves all cargo profiles. Without this script a plain `cargo build` still works: it compiles RocksDB itself.
#
#   STONETOWN_CACHE   where the archive is kept (default: ~/.cache/stonetown)
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n '/^name = "librocksdb-sys"$/{n;s/^version = "\(.*\)"$/\1/p;}' Cargo.lock)
[ -n "$version" ] || { echo "build-rocksdb: Cargo.lock names no librocksdb-sys" >&2; exit 1; }
cxx=${CXX:-g++}
command -v "$cxx" >/dev/null || { echo "build-rocksdb: no C++ compiler '$cxx': install g++ (Debian: apt-get install g++) or set CXX" >&2; exit 1; }

units=8
flags="-std=c++20 -O2 -fPIC -w -ffunction-sections -fdata-sections -DLZ4=1 -DZSTD=1 -DNDEBUG=1 -DHAVE_ALIGNED_NEW
 -DHAVE_UINT128_EXTENSION -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT
 -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT -include cstdint"
case $(uname -m) in x86_64) flags="$flags -msse4.2 -mpclmul" ;; esac
key=$(printf '%s %s %s %s' "$version" "$("$cxx" -dumpfullversion -dumpversion)" "$units" "$flags" | sha256sum | cut -c1-12)
out=${STONETOWN_CACHE:-$HOME/.cache/stonetown}/rocksdb-$version-$key

if [ ! -f "$out/librocksdb.a" ]; then
  cargo fetch --locked --quiet
  manifest() { cargo metadata --locked --offline --format-version 1 | tr '{' '\n' | sed -n "s|.*\"manifest_path\":\"\([^\"]*/$1-[0-9][^/\"]*\)/Cargo.toml\".*|\1|p" | head -n 1; }
  sys=$(manifest librocksdb-sys); lz4=$(manifest lz4-sys)/liblz4/lib; zstd=$(manifest zstd-sys)/zstd/lib
  for d in "$sys" "$lz4" "$zstd"; do [ -d "$d" ] || { echo "build-rocksdb: no sources at '$d'" >&2; exit 1; }; done
  echo "building RocksDB $version into $out (once, about 5 minutes on two cores)"
  mkdir -p "$out"
  work=$(mktemp -d "$out/build.XXXXXX"); trap 'rm -rf "$work"' EXIT
  grep -v build_version "$sys/rocksdb_lib_sources.txt" | grep . | awk -v units=$units -v dir="$work" \
    '{ print "#include \"rocksdb/" $0 "\"" > (dir "/unit" (int((NR - 1) / 43) % units) ".cc") }'
  cp "$sys/build_version.cc" "$work/build_version.cc"
  compile() { # UNIT: the error text is shown whole, as a half-built archive helps nobody
    (cd "$sys" && "$cxx" $flags -I. -Irocksdb -Irocksdb/include -I"$lz4" -I"$zstd" -c "$work/$1.cc" -o "$work/$1.o") ||
      { echo "build-rocksdb: $1 does not compile" >&2; exit 1; }
  }
  export -f compile; export sys cxx flags lz4 zstd work
  (cd "$work" && ls ./*.cc) | sed 's|^\./||; s|\.cc$||' | xargs -P "$(nproc)" -I{} bash -c 'compile {}'
  ar crs "$work/librocksdb.a" "$work"/*.o
  mv "$work/librocksdb.a" "$out/librocksdb.a"
fi

mkdir -p .cargo
printf '# Written by scripts/build-rocksdb.sh; not under version control.\n[env]\nROCKSDB_LIB_DIR = "%s"\nROCKSDB_STATIC = "1"\n' "$out" > .cargo/config.toml
echo "RocksDB $version: $out"
