// Command others tells what Prometheus and Traefik make of the instances of a service: its targets, by Prometheus' own
// consul_sd, and its routers, by the parser that Traefik reads tags with.
package main

import (
	"context"
	"encoding/json"
	"log"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/traefik/paerser/parser"
)

// What is looked at of Traefik's configuration.
type configuration struct {
	Enable bool `json:"enable"`
	HTTP   struct {
		Routers map[string]struct {
			Rule        string   `json:"rule"`
			EntryPoints []string `json:"entryPoints"`
		} `json:"routers"`
	} `json:"http"`
}

func main() {
	targets, err := scraped(os.Getenv("CONSUL_HTTP_ADDR"), os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	routed := make([]configuration, len(targets))
	for i, target := range targets {
		if err := parser.Decode(labels(target["__meta_consul_tags"]), &routed[i], "traefik"); err != nil {
			log.Fatal(err)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"targets": targets, "routed": routed}); err != nil {
		log.Fatal(err)
	}
}

// Targets as Prometheus finds them, before any relabelling.
func scraped(server, service string) ([]model.LabelSet, error) {
	config := consul.DefaultSDConfig
	config.Server, config.Services = strings.TrimPrefix(server, "http://"), []string{service}
	registry := prometheus.NewRegistry()
	metrics := config.NewDiscovererMetrics(registry, discovery.NewRefreshMetrics(registry))
	discoverer, err := config.NewDiscoverer(discovery.DiscovererOptions{Logger: slog.Default(), Metrics: metrics})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	groups := make(chan []*targetgroup.Group)
	go discoverer.Run(ctx, groups)
	for {
		select {
		case found := <-groups:
			for _, group := range found {
				if group != nil && len(group.Targets) > 0 {
					all := make([]model.LabelSet, 0, len(group.Targets))
					for _, target := range group.Targets {
						all = append(all, group.Labels.Merge(target))
					}
					return all, nil
				}
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Tags such as `traefik.http.routers.a.rule=…` as labels, the way Traefik's Consul catalog provider takes them.
func labels(tags model.LabelValue) map[string]string {
	found := map[string]string{}
	for _, tag := range strings.Split(string(tags), ",") {
		if name, value, is := strings.Cut(tag, "="); is && strings.HasPrefix(name, "traefik.") {
			found[name] = value
		}
	}
	return found
}
