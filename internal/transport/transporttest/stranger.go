package transporttest

import (
	"io"
	"net"
	"testing"
)

// Stranger starts a server at addr that is no member: it greets whoever connects and hangs
// up. It returns where it listens, and ends with the test.
func Stranger(t testing.TB, addr, greeting string) string {
	t.Helper()
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, greeting)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		lis.Close()
		<-done
	})
	return lis.Addr().String()
}
