#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tests/oracle/schemas.sh [COUNT [SEED [WALKS [MODEL]]]]     from the root; needs node and npm
# COUNT random schemas; of each WALKS texts of random tokens and one by the model, at most 150 tokens
# long; ajv judges all of them: what ended must be valid, what was cut the beginning of something valid.
set -eu

root=$(pwd)
count=${1:-1000}
seed=${2:-1}
walks=${3:-3}
model=${4:-models/story.gguf}
build=build/release
packages=$build/schema-oracle
cmake -S . -B $build -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build $build --target inkling_static >/dev/null
mkdir -p $packages
cp tests/oracle/package.json $packages/
[ -d $packages/node_modules/ajv ] || npm install --prefix $packages --loglevel=error --no-audit --no-fund \
    --ignore-scripts >"$packages/npm.log" 2>&1
${CC:-cc} -std=c17 -O2 -D_GNU_SOURCE -Iinclude -Isrc -o $packages/schema_walk tests/oracle/schema_walk.c \
    $build/lib/libinkling.a -lm -pthread
# Some of the schemas are refused: half as many again are made.
SCHEMA_PACKAGES=$root/$packages node tests/oracle/schema_ajv.mjs make $((count * 2)) "$seed" >$packages/schemas.txt
$packages/schema_walk "$model" $packages/schemas.txt "$count" "$seed" "$walks" >$packages/walks.txt
SCHEMA_PACKAGES=$root/$packages node tests/oracle/schema_ajv.mjs judge $packages/schemas.txt $packages/walks.txt
