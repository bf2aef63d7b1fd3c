// Command inventory is the stock keeper of the demo fleet; the environment says port, peers and registry.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	consul "github.com/hashicorp/consul/api"
	"github.com/outrigger-rs/outrigger/examples/go/inventory/internal/inventory"
	"github.com/outrigger-rs/outrigger/examples/go/inventory/internal/registry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("inventory ends", "error", err)
		os.Exit(1)
	}
}

// Serves until ctx ends, then drains: not ready, deregistered, a moment for callers to notice, finished.
func run(ctx context.Context) error {
	host := cmp.Or(os.Getenv("HOST"), "127.0.0.1")
	listener, err := net.Listen("tcp", net.JoinHostPort(host, cmp.Or(os.Getenv("PORT"), "8082")))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	notice, wrong := time.ParseDuration(cmp.Or(os.Getenv("DRAIN_NOTICE_MS"), "1000") + "ms")
	_, own, _ := net.SplitHostPort(listener.Addr().String())
	port, err := strconv.Atoi(cmp.Or(os.Getenv("ADVERTISE_PORT"), own))
	if err := errors.Join(wrong, err); err != nil {
		return fmt.Errorf("DRAIN_NOTICE_MS, ADVERTISE_PORT: %w", err)
	}
	machine, _ := os.Hostname()
	id := cmp.Or(os.Getenv("INSTANCE_ID"), fmt.Sprintf("inventory-%s-%d", machine, port))
	service := inventory.New(id)
	server := &http.Server{
		Handler: service, ReadHeaderTimeout: 5 * time.Second,
		// Longer than a caller's pool keeps an idle connection: it closes first, no request is lost.
		IdleTimeout: 90 * time.Second,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	slog.Info("inventory listens", "id", id, "address", listener.Addr().String())

	// REGISTER=no leaves the announcement to `outrigger run`.
	if os.Getenv("REGISTER") != "no" {
		client, err := consul.NewClient(consul.DefaultConfig())
		if err != nil {
			return fmt.Errorf("configure consul: %w", err)
		}
		instance := registry.Instance{ID: id, Service: "inventory", Address: host, Port: port, Version: "0.1.0"}
		left := make(chan struct{})
		go func() { defer close(left); registry.Keep(ctx, client.Agent(), instance, 5*time.Second) }()
		defer func() { <-left }()
	}
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	service.Leave()
	time.Sleep(notice)
	grace, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	return server.Shutdown(grace)
}
