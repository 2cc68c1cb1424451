//go:build !linux

package main

import (
	"context"
	"errors"
	"net"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const bufferSize = 64 << 10

// errLinux is returned on other systems: the loop needs epoll.
var errLinux = errors.New("fan-out is measured on Linux only")

// loop is not implemented.
type loop struct{ wire wire }

func newLoop() (*loop, error)                                   { return nil, errLinux }
func (*loop) run(context.Context)                               {}
func (*loop) close() error                                      { return nil }
func (*loop) add(int, int, []byte) error                        { return errLinux }
func (*loop) begin(bool)                                        {}
func (*loop) addTo(*counts, *hdrhistogram.Histogram)            {}
func (*loop) missing([][publishers]uint32) (missing, got int64) { return 0, 0 }
func (*loop) countLost([][publishers]uint32)                    {}
func duplicate(net.Conn) (int, error)                           { return -1, errLinux }
func raiseFiles() error                                         { return errLinux }
func filesLimit() (int, error)                                  { return 0, errLinux }
