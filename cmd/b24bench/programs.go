package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A program is another proxy, started with a configuration for one portal.
type program struct {
	name   string
	args   []string // $CONFIG is the file
	config string   // $PORTAL and $LISTEN are addresses, $DIR a folder for its files
	limits string   // takes the place of $LIMITS where a limit is in force; $RATE and $BURST are the portal's
}

// nginx delays calls so that they keep to the rate. As many as the portal's burst are not
// delayed.
var nginx = program{
	name: "nginx",
	args: []string{"-c", "$CONFIG", "-e", "$DIR/error.log"},
	config: `daemon off; worker_processes 2; pid $DIR/pid; error_log $DIR/error.log;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path $DIR; proxy_temp_path $DIR; fastcgi_temp_path $DIR; uwsgi_temp_path $DIR; scgi_temp_path $DIR;
  upstream portal { server $PORTAL; keepalive 100; }
  limit_req_zone $server_port zone=portal:1m rate=$RATEr/s;
  server {
    listen $LISTEN;
    location / { $LIMITS proxy_pass http://portal; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`,
	limits: "limit_req zone=portal burst=1000 delay=$BURST;",
}

// haproxy lets few calls through at once and queues the others. It can refuse calls by
// their rate, and not make them wait for it.
var haproxy = program{
	name: "haproxy",
	args: []string{"-db", "-f", "$CONFIG"},
	config: `global
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout queue 60s
frontend clients
  bind $LISTEN
  default_backend portal
backend portal
  http-reuse always
  server portal $PORTAL $LIMITS
`,
	limits: "maxconn 2",
}

// start starts the program, if it is installed.
func (p program) start(ctx context.Context, upstream string, o options, limited bool) (*child, error) {
	path, err := exec.LookPath(p.name)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed", p.name)
	}
	dir, err := os.MkdirTemp("", "b24bench-")
	if err != nil {
		return nil, err
	}
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	limits := ""
	if limited {
		limits = p.limits
	}
	file := filepath.Join(dir, "config")
	fill := strings.NewReplacer("$CONFIG", file, "$DIR", dir, "$LISTEN", listen, "$PORTAL", strings.TrimPrefix(upstream, "http://"),
		"$RATE", fmt.Sprint(o.plan.Rate), "$BURST", fmt.Sprint(o.plan.Burst), "$LIMITS", limits)
	if err := os.WriteFile(file, []byte(fill.Replace(fill.Replace(p.config))), 0o600); err != nil {
		return nil, err
	}
	args := make([]string, len(p.args))
	for i, arg := range p.args {
		args[i] = fill.Replace(arg)
	}
	c := &child{base: "http://" + listen, cmd: exec.CommandContext(ctx, path, args...)}
	c.end = func() {
		c.cmd.Process.Signal(syscall.SIGTERM)
		os.RemoveAll(dir)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	return c, c.ready(listen)
}

// ready waits until the child accepts connections.
func (c *child) ready(address string) error {
	for range 100 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.stop()
	return fmt.Errorf("%s does not listen", c.cmd.Path)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
