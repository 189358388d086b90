//go:build !race

package e2e_test

// maxAllocated is what one request may allocate, client included.
const maxAllocated = 20 << 20
