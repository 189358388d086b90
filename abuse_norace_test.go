//go:build !race

package main

// maxAllocated is what one request may allocate, client included.
const maxAllocated = 20 << 20
