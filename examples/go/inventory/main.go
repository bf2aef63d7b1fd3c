// Command inventory is the stock keeper of the demo fleet; the environment says port, peers and registry.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/outrigger-rs/outrigger/examples/go/inventory/internal/inventory"
	"github.com/outrigger-rs/outrigger/examples/go/inventory/internal/registry"
)

// Serves until it is told to end, then drains: not ready, deregistered, a moment for callers to notice, finished.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	host, own := cmp.Or(os.Getenv("HOST"), "127.0.0.1"), cmp.Or(os.Getenv("PORT"), "8082")
	listener, unbound := net.Listen("tcp", net.JoinHostPort(host, own))
	port, wrong := strconv.Atoi(cmp.Or(os.Getenv("ADVERTISE_PORT"), own))
	notice, unclear := time.ParseDuration(cmp.Or(os.Getenv("DRAIN_NOTICE_MS"), "1000") + "ms")
	if err := errors.Join(unbound, wrong, unclear); err != nil {
		log.Fatalf("HOST, PORT, ADVERTISE_PORT, DRAIN_NOTICE_MS: %v", err)
	}
	machine, _ := os.Hostname()
	id := cmp.Or(os.Getenv("INSTANCE_ID"), fmt.Sprintf("inventory-%s-%d", machine, port))
	service := inventory.New(id)
	// Longer than a caller's pool keeps an idle connection: it closes first, no request is lost.
	server := &http.Server{Handler: service, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 90 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Fatalf("serve: %v", err)
		}
	}()
	log.Printf("%s listens on %s", id, listener.Addr())
	// REGISTER=no leaves the announcement to `outrigger run`.
	if os.Getenv("REGISTER") != "no" {
		go registry.Keep(ctx, id, host, port, 5*time.Second)
	}
	<-ctx.Done()
	service.Leave()
	time.Sleep(notice)
	grace, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		log.Printf("requests were cut: %v", err)
	}
}
