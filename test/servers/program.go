package servers

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// Program starts any other server, with args, in an empty folder of its own below dir (see Folder), and waits until
// connections to its loopback port are accepted.
func Program(ctx context.Context, dir, path string, port int, args ...string) (*Server, error) {
	s := &Server{name: filepath.Base(path), path: path, args: args, port: port, answers: func(net.Conn) error { return nil }}
	s.dir = filepath.Join(dir, s.name+"-"+strconv.Itoa(port))
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// PID is the number of the process that was started last.
func (s *Server) PID() int { return s.command.Process.Pid }
