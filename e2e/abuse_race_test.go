//go:build race

package e2e_test

// maxAllocated is what one request may allocate, client included: the race
// detector allocates besides.
const maxAllocated = 40 << 20
