// The naive design with goroutines, for comparison: one for each accepted connection, which dials
// a backend, and one for each direction with io.Copy, which splices between TCP connections.
//
//	naive-go LISTEN BACKEND...
//
// When it runs out of descriptors it says so, closes that client and goes on.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

var lastComplaint int64

// complain says what went wrong, at most once a second.
func complain(what string, err error) {
	now := time.Now().Unix()
	if atomic.SwapInt64(&lastComplaint, now) != now {
		fmt.Fprintf(os.Stderr, "naive-go: %s: %v\n", what, err)
	}
}

// move copies until the source ends, and passes the end on.
func move(destination, source *net.TCPConn) {
	if _, err := io.Copy(destination, source); err != nil {
		destination.Close()
		source.Close()
		return
	}
	destination.CloseWrite()
}

func serve(client *net.TCPConn, backend string) {
	defer client.Close()
	connection, err := net.Dial("tcp", backend)
	if err != nil {
		complain("cannot reach a backend", err)
		return
	}
	defer connection.Close()
	server := connection.(*net.TCPConn)
	var both sync.WaitGroup
	both.Add(2)
	go func() {
		defer both.Done()
		move(server, client)
	}()
	go func() {
		defer both.Done()
		move(client, server)
	}()
	both.Wait()
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: naive-go LISTEN BACKEND...")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "naive-go:", err)
		os.Exit(1)
	}
	backends := os.Args[2:]
	for next := 0; ; {
		client, err := listener.Accept()
		if err != nil {
			complain("cannot accept a client", err)
			time.Sleep(5 * time.Millisecond)
			continue
		}
		go serve(client.(*net.TCPConn), backends[next%len(backends)])
		next++
	}
}
