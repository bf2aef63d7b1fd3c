// Command reader tells the passing instances of a service as Consul's Go client reads them.
package main

import (
	"encoding/json"
	"log"
	"os"

	consul "github.com/hashicorp/consul/api"
)

func main() {
	client, err := consul.NewClient(consul.DefaultConfig())
	if err != nil {
		log.Fatal(err)
	}
	entries, _, err := client.Health().Service(os.Args[1], "", true, nil)
	if err != nil {
		log.Fatal(err)
	}
	found := []map[string]any{}
	for _, entry := range entries {
		found = append(found, map[string]any{
			"address": entry.Service.Address, "port": entry.Service.Port, "status": entry.Checks.AggregatedStatus(),
			"tags": entry.Service.Tags, "zone": entry.Service.Meta["zone"], "version": entry.Service.Meta["version"],
		})
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		log.Fatal(err)
	}
}
