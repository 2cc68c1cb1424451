package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Nginx starts nginx in a new folder below dir (see Folder), with one server whose configuration consists of lines.
func Nginx(ctx context.Context, dir, lines string) (*Server, error) {
	path, err := find("nginx", "nginx-light")
	if err != nil {
		return nil, err
	}
	s := &Server{name: "nginx", path: path, answers: answersHTTP}
	if s.port, err = FreePort(); err != nil {
		return nil, err
	}
	s.dir = filepath.Join(dir, "nginx-"+strconv.Itoa(s.port))
	if err := own(s.dir, nil); err != nil {
		return nil, err
	}
	// One process, so that it ends with the one that started it; nothing is written outside the folder.
	config := fmt.Sprintf(`daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server {
		listen 127.0.0.1:%d;
%s
	}
}
`, s.port, lines)
	file := filepath.Join(s.dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	s.args = []string{"-p", s.dir, "-c", file, "-e", "stderr"}
	return s, s.Start(ctx)
}

// answersHTTP asks a web server for any answer.
func answersHTTP(conn net.Conn) error {
	if _, err := conn.Write([]byte("OPTIONS * HTTP/1.0\r\n\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	if said := string(answer[:n]); !strings.HasPrefix(said, "HTTP/1.") {
		return errors.New(strings.TrimSpace(said))
	}
	return nil
}
