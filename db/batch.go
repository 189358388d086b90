package db

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// commitTimeout bounds one transaction of the journal, waiting included.
const commitTimeout = 15 * time.Second

var (
	errClosed = errors.New("the database is closed")
	errLate   = errors.New("the database did not come to it in time")
	// errNotBegun is nobody's own fault: to try each alone would fail as well.
	errNotBegun = errors.New("no transaction could be begun")
)

// queued is what waits for its transaction or statement, alone or with others.
type queued struct {
	patientID string
	until     time.Time // from then on it is not begun
	err       error
	done      chan struct{}
}

func (q *queued) place() *queued { return q }

type batched interface{ place() *queued }

// batcher runs in one transaction, or one statement, what several callers want at the same
// time: a commit waits for the disk or for the network, and many can wait together.
type batcher[T batched] struct {
	run     func(batch []T) error // all of it or nothing; it may run again
	most    int                   // in a batch
	queue   chan T
	turn    chan struct{} // a worker takes its element before it takes a batch; nil: they take no turns
	closing sync.RWMutex  // read-locked while one is handed over
	closed  bool
	running sync.WaitGroup
}

// newBatcher starts as many workers, so that one that waits for a locked row
// does not stop the others.
func newBatcher[T batched](workers, most int, run func(batch []T) error) *batcher[T] {
	return (&batcher[T]{run: run, most: most, queue: make(chan T, 256)}).start(workers)
}

// newBatcherInTurns is one whose workers take turns, see patience.
func newBatcherInTurns[T batched](workers, most int, run func(batch []T) error) *batcher[T] {
	b := &batcher[T]{run: run, most: most, queue: make(chan T, 256), turn: make(chan struct{}, 1)}
	b.turn <- struct{}{}
	return b.start(workers)
}

func (b *batcher[T]) start(workers int) *batcher[T] {
	for range workers {
		b.running.Go(b.work)
	}
	return b
}

// do returns when t is durable, whatever happens to the caller meanwhile, or
// has failed.
func (b *batcher[T]) do(t T) error {
	t.place().until = time.Now().Add(commitTimeout)
	return b.await(context.Background(), t, nil)
}

// await is do for a caller who may give up, or whose time is over: with the error of ctx, or
// errLate, t may still be under way, and must not be looked at.
func (b *batcher[T]) await(ctx context.Context, t T, over <-chan struct{}) error {
	q := t.place()
	q.done = make(chan struct{})
	b.closing.RLock()
	if b.closed {
		b.closing.RUnlock()
		return errClosed
	}
	select {
	case b.queue <- t:
	case <-ctx.Done():
		b.closing.RUnlock()
		return ctx.Err()
	case <-over:
		b.closing.RUnlock()
		return errLate
	}
	b.closing.RUnlock()
	select {
	case <-q.done:
		return q.err
	case <-ctx.Done():
		return ctx.Err()
	case <-over:
		return errLate
	}
}

// close lets finish what is queued.
func (b *batcher[T]) close() {
	b.closing.Lock()
	if !b.closed {
		b.closed = true
		close(b.queue)
	}
	b.closing.Unlock()
	b.running.Wait()
}

func (b *batcher[T]) work() {
	for {
		if b.turn != nil {
			<-b.turn
		}
		first, open := <-b.queue
		if !open {
			if b.turn != nil {
				b.turn <- struct{}{}
			}
			return
		}
		pass := b.passOn()
		batch := b.gather(first)
		if len(batch) == 0 {
			pass()
			continue
		}
		err := b.run(batch)
		pass()
		for _, t := range batch {
			if err == nil {
				close(t.place().done)
				continue
			}
			b.running.Go(func() { // one must not fail the others, nor keep them waiting
				q := t.place()
				if err := retryAlone(err, func() error { return b.run([]T{t}) }); err != nil {
					q.err = err
				}
				close(q.done)
			})
		}
	}
}

// patience is for how long a batch has those behind it wait: what goes together costs less,
// but one that stands still keeps nobody.
const patience = 2 * time.Millisecond

// passOn gives the turn to another worker, after patience at the latest.
func (b *batcher[T]) passOn() (now func()) {
	if b.turn == nil {
		return func() {}
	}
	pass := func() { b.turn <- struct{}{} }
	later := time.AfterFunc(patience, pass)
	return func() {
		if later.Stop() {
			pass()
		}
	}
}

// gather returns what waits behind first, in one order everywhere: two replicas
// cannot wait for each other. What has waited too long, for a database that
// stands still, ends here: its caller has gone, or will in a moment.
func (b *batcher[T]) gather(first T) []T {
	batch := []T{first}
	for len(batch) < b.most {
		select {
		case next, open := <-b.queue:
			if open {
				batch = append(batch, next)
				continue
			}
		default:
		}
		break
	}
	now := time.Now()
	batch = slices.DeleteFunc(batch, func(t T) bool {
		q := t.place()
		late := now.After(q.until)
		if late {
			q.err = errors.Join(errNotBegun, errLate)
			close(q.done)
		}
		return late
	})
	slices.SortStableFunc(batch, func(x, y T) int { return strings.Compare(x.place().patientID, y.place().patientID) })
	return batch
}
