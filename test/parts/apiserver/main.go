// Command kube-apiserver-with-etcd is the real Kubernetes API server and the
// real etcd in one binary, so that tests and the demo need no container engine:
//
//	kube-apiserver-with-etcd apiserver [flags of kube-apiserver]
//	kube-apiserver-with-etcd etcd DATA_DIR CLIENT_URL
//
// The two run as processes of their own; a test may end either without the other.
package main

import (
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: %s apiserver [flags] | etcd DATA_DIR CLIENT_URL", os.Args[0])
	}
	mode := os.Args[1]
	os.Args = append(os.Args[:1], os.Args[2:]...)
	switch mode {
	case "apiserver":
		os.Exit(cli.Run(app.NewAPIServerCommand()))
	case "etcd":
		runEtcd(os.Args[1:])
	default:
		fail("unknown mode %q: apiserver or etcd", mode)
	}
}

// runEtcd serves a single member until SIGTERM or SIGINT. Nothing is synced to
// disk: the data of a test is worth nothing after a power cut, and fsync would
// dominate every write.
func runEtcd(args []string) {
	if len(args) != 2 {
		fail("usage: etcd DATA_DIR CLIENT_URL")
	}
	client, err := url.Parse(args[1])
	if err != nil {
		fail("client URL %q: %v", args[1], err)
	}
	config := embed.NewConfig()
	config.Dir = args[0]
	config.LogLevel = "warn"
	config.UnsafeNoFsync = true
	config.ListenClientUrls = []url.URL{*client}
	config.AdvertiseClientUrls = []url.URL{*client}
	// A single member needs no peers; port 0 keeps it off every fixed port.
	config.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	server, err := embed.StartEtcd(config)
	if err != nil {
		fail("etcd: %v", err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-server.Server.ReadyNotify():
		fmt.Println("etcd is ready")
	case <-stop:
	case err = <-server.Err():
		fail("etcd: %v", err)
	}
	select {
	case <-stop:
	case err = <-server.Err():
		fail("etcd: %v", err)
	}
	server.Close()
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}
