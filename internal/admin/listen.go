package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// unixPrefix begins the address of a socket in the file system.
	unixPrefix = "unix:"
	// socketMode lets only the user that runs the member connect.
	socketMode = 0o600
	// staleTimeout bounds the wait for whoever listens at a socket that is there.
	staleTimeout = time.Second
)

// listen listens at host:port, where an empty host is loopback, or at unix:PATH.
func listen(addr string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		return listenUnix(path)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%q is neither host:port nor unix:PATH", addr)
	}
	if host == "" {
		host = "localhost"
	}
	return net.Listen("tcp", net.JoinHostPort(host, port))
}

// listenUnix listens at a socket that only the user of this process can open. The
// socket is made in a directory that is the user's alone, and moved to its path when it
// has its mode, so that nobody else can open it before. One that a process has left
// behind is replaced.
func listenUnix(path string) (net.Listener, error) {
	switch {
	case path == "" || strings.HasPrefix(path, "@"):
		return nil, fmt.Errorf("unix:%s: use the path of a file", path)
	case strings.HasSuffix(path, string(filepath.Separator)):
		return nil, fmt.Errorf("unix:%s is a directory", path)
	}
	if err := stale(path); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".concord")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is empty by then, or of no use
	made := filepath.Join(dir, "s")
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("unix:%s: %w", path, err)
	}
	lis.SetUnlinkOnClose(false)
	if runtime.GOOS != "windows" { // where the directory decides who may open it
		err = os.Chmod(made, socketMode)
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		_ = lis.Close()
		return nil, err
	}
	l := &socket{UnixListener: lis, path: path}
	l.made, err = os.Lstat(path)
	if err != nil {
		_ = lis.Close()
		return nil, err
	}
	return l, nil
}

// stale reports why there can be no socket at path: there is something else, or a
// process that listens.
func stale(path string) error {
	is, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case is.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("unix:%s: there is a file that is no socket", path)
	}
	conn, err := net.DialTimeout("unix", path, staleTimeout)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("unix:%s: a process listens there: %w", path, syscall.EADDRINUSE)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return nil
}

// socket removes its file when it is closed, unless another has taken its place.
type socket struct {
	*net.UnixListener
	path   string
	made   fs.FileInfo
	remove sync.Once
}

// Addr is the path at which the socket can be opened.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Close stops listening.
func (s *socket) Close() error {
	s.remove.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.made) {
			_ = os.Remove(s.path)
		}
	})
	return s.UnixListener.Close()
}
