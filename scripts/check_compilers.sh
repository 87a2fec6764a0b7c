#!/usr/bin/env bash
# check_compilers.sh: the example plugin of each kind, built by g++ 12, 13 and 14 and by clang 16 with
# libstdc++ and libc++, then checked and used by the same campaign: a row each, with the digest of its
# trials, or the sentence that refuses it. g++ 13 and 14 come out of Debian 13 (debootstrap into
# build/compilers, by root, a few minutes), clang and libc++ from apt. Not one of the tests, for what it
# installs. Fails where a plugin gives other bytes than g++ 12's.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
scripts/setup.sh
scripts/build.sh release
out=$PWD/build/compilers
newer=$out/debian13
mkdir -p "$out"
if ! command -v debootstrap clang++-16 >/dev/null || [[ ! -d /usr/lib/llvm-16/include/c++ ]]; then
  apt-get install -y --no-install-recommends debootstrap clang-16 libc++-16-dev libc++abi-16-dev >/dev/null
fi
if [[ ! -x $newer/usr/bin/g++-14 ]]; then
  debootstrap --variant=minbase --include=g++-13,g++-14 trixie "$newer" http://deb.debian.org/debian >"$out/debootstrap.log"
fi
rm -rf -- "$out/installed" "$out/plugins"
cmake --install build/release --prefix "$out/installed" >/dev/null
bitfall=$out/installed/bin/bitfall
read -ra flags <<<"$("$bitfall" plugin flags)"
mkdir -p "$newer$out/installed"
cp -r -- "$out/installed/include" "$newer$out/installed/"

failed=0
printf '%-16s %-26s %-24s %s\n' plugin compiler check "digest, or why not"
for example in format:log8 error_model:channel_flip metric:top_k head_init:orthogonal protection:clamp; do
  name=my_${example#*:}
  folder=$out/plugins/$name
  "$bitfall" plugin new "${example%:*}" "$name" --dir "$folder" >/dev/null
  mkdir -p "$folder/build" "$newer$folder/build"
  cp -- "$folder/$name.cc" "$newer$folder/"
  expected=
  for compiler in g++ g++-13 g++-14 clang++-16 "clang++-16 -stdlib=libc++"; do
    rm -rf -- "$folder/build"/*
    build=($compiler "${flags[@]}" "$folder/$name.cc" -o "$folder/build/$name.so")
    if [[ $compiler == g++-* ]]; then
      chroot "$newer" "${build[@]}"
      cp -- "$newer$folder/build/$name.so" "$folder/build/"
    else
      "${build[@]}"
    fi
    check=$("$bitfall" plugin check "$folder/build/$name.so" 2>&1) || true
    if [[ $name == my_orthogonal ]]; then
      (cd "$folder" && "$bitfall" -q head attach network/model.pt --init "$name" --plugin "build/$name.so" -o build/head.pt) \
        >/dev/null 2>&1 || true
    fi
    if said=$(cd "$folder" && "$bitfall" -q run test.toml 2>&1); then
      digest=$("$bitfall" status "$folder/build/run" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["digest"])')
      expected=${expected:-$digest}
      said=${digest:0:16}
      if [[ $digest != "$expected" ]]; then
        failed=1
        said="$said, OTHER than g++ 12's"
      fi
    elif [[ $said != *"is refused"* ]]; then
      failed=1
    fi
    printf '%-16s %-26s %-24s %s\n' "$name" "$compiler" "$(tail -n 1 <<<"$check" | cut -d, -f1,2)" "$said"
  done
done
exit "$failed"
