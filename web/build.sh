#!/bin/sh
# Builds the page at / from graphiql/ into static/, which is committed and embedded: who
# builds the product needs Go alone. .ci/run builds it again and looks for a difference.
set -eu
cd "$(dirname "$0")/graphiql"
npm ci --ignore-scripts --no-audit --no-fund
npm run build
