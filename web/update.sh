#!/bin/sh
# Puts the pinned releases of GraphiQL and React into static/, byte for byte as
# published on npm. To move to another version: change its line, run this, and
# take over the checksum it reports.
set -eu
cd "$(dirname "$0")/static"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# package NAME VERSION SHA512 (base64, as in "npm view NAME@VERSION dist.integrity")
package() {
	file=$(cd "$work" && npm pack --silent "$1@$2")
	sum=$(openssl dgst -sha512 -binary "$work/$file" | openssl base64 -A)
	if [ "$sum" != "$3" ]; then
		echo "$1@$2 has sha512 $sum" >&2
		exit 1
	fi
	mkdir "$work/$1"
	tar -xzf "$work/$file" -C "$work/$1" --strip-components=1
	cp "$work/$1/LICENSE" "$1.LICENSE.txt"
}

package graphiql 3.9.0 rJYFlHdBbug9+YbFSwRVvgfPjCayC7wHecZkx/qB4XLuQPFQZw/yB9pmHFtOJV6RiNBBHro3u1GdocKa3YcGRA==
package react 18.3.1 wS+hAgJShR0KhEvPJArfuPVN1+Hz1t0Y6n5jLrGQbkb4urgPE/0Rve+1kMB1v/oWgHgm4WIcV+i7F2pTVj+2iQ==
package react-dom 18.3.1 5m4nQKp+rZRb09LNH59GM4BxTh9251/ylbKIbpe7TpGxfJ+9kv6BLkLBXIjjspbgbnIBNqlI23tRnTWT0snUIw==

cp "$work/graphiql/graphiql.min.js" "$work/graphiql/graphiql.min.css" .
cp "$work/react/umd/react.production.min.js" .
cp "$work/react-dom/umd/react-dom.production.min.js" .
chmod 644 ./*
