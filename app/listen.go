package app

import (
	"context"
	"net"
	"time"
)

// unansweredTimeout is how long a client may leave unacknowledged what was sent to it: the
// heartbeats of a subscription find by it who has vanished without a word. It is longer
// than an answer may wait to be taken.
const unansweredTimeout = 45 * time.Second

// listen listens on an address. Whoever acknowledges nothing for the timeout is cut off,
// where the system can do so; else after TCP's own, which is a quarter of an hour.
func listen(ctx context.Context, address string, timeout time.Duration) (net.Listener, error) {
	config := net.ListenConfig{Control: withUserTimeout(timeout)}
	return config.Listen(ctx, "tcp", address)
}
