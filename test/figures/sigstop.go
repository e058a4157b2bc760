package main

import (
	"context"
	"errors"
)

func sigstop(ctx context.Context) (result, error) {
	return result{asked: ""}, errors.New("to be written")
}
