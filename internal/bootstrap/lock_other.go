//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package bootstrap

import (
	"io"
	"os"
)

// acquire opens the file at path. Nobody else is kept from it here.
func acquire(path string) (io.Closer, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// syncDir does nothing: not every system can sync a directory.
func syncDir(string) error { return nil }
