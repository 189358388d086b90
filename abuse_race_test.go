//go:build race

package main

// maxAllocated is what one request may allocate, client included: the race
// detector allocates besides.
const maxAllocated = 40 << 20
