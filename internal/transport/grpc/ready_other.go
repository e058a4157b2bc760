//go:build !unix

package grpctransport

import "errors"

const canReadRaw = false

func readRaw(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
