package dbtest

import (
	"net"
	"net/url"
	"testing"
)

// Between stands before a PostgreSQL server: pass gets both ends of every connection,
// and closes them. It returns the URL of the database by this way.
func Between(t testing.TB, databaseURL string, pass func(client, server net.Conn)) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			go pass(client, server)
		}
	}()
	u.Host = l.Addr().String()
	return u.String()
}
