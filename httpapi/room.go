package httpapi

import "sync"

// shares is into how many a room is divided: one caller may have one of them.
const shares = 4

// room is memory that all callers share.
type room struct {
	size int64

	mu    sync.Mutex
	taken map[string]int64 // by caller
	all   int64
}

func newRoom(size int64) *room { return &room{size: size, taken: map[string]int64{}} }

// take reports whether there is room for so much more of a caller.
func (r *room) take(caller string, size int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all+size > r.size || r.taken[caller]+size > r.size/shares {
		return false
	}
	r.all += size
	r.taken[caller] += size
	return true
}

// giveBack returns how much is still taken.
func (r *room) giveBack(caller string, size int64) (left int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all -= size
	if r.taken[caller] -= size; r.taken[caller] == 0 {
		delete(r.taken, caller)
	}
	return r.all
}
