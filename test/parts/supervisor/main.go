// Command supervisor runs one command, and answers for everything that the
// command leaves behind:
//
//	supervisor [-bind SRC:DST]... [-small SRC:DST:SIZE]... [-network] [-remove DIR] -- COMMAND [ARGUMENT]...
//
// It is a child subreaper: a process whose parent is gone becomes its child and
// is reaped at once. libvirt waits for QEMU's process to be gone before it says
// that a guest has stopped, and the init of a container may be seconds late.
//
// With -bind it runs the command in a mount namespace of its own, where SRC is
// seen at DST; a system-wide daemon then has directories of its own. With -small
// DST is a file system in memory of that SIZE, such as 1m, with a copy of what is
// in SRC: it can be filled up, and goes with the namespace. With -network
// it has a network of its own, too, with nothing but a loopback device: whatever
// bridges and filters it makes go with it.
//
// It is told what to do by lines on its stdin, and says by lines on its stdout
// what happened:
//
//	start          ->  started PID
//	signal NAME    ->  signalled PID
//	(any time)     ->  exited STATUS, a number or the name of a signal
//	(on a mistake) ->  error TEXT
//
// The command may be started again after it exited; what it left running lives
// on meanwhile. When stdin closes, which happens even if the other end is killed,
// and at SIGTERM or SIGINT, every descendant is killed and then the supervisor
// ends; with -remove, a directory of temporary files goes, too. The command's stdout
// and stderr are the supervisor's stderr.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

const prSetChildSubreaper = 36

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP,
	"QUIT": syscall.SIGQUIT, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
	"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

// The mount namespace belongs to a thread, and so does the parent's death signal:
// everything is started from the first one, which never ends before us, and by
// which /proc/PID/root shows what is mounted there.
func init() {
	runtime.LockOSThread()
}

func main() {
	var binds, smalls []string
	flag.Func("bind", "SRC:DST, repeatable", func(bind string) error {
		binds = append(binds, bind)
		return nil
	})
	flag.Func("small", "SRC:DST:SIZE, repeatable", func(small string) error {
		smalls = append(smalls, small)
		return nil
	})
	network := flag.Bool("network", false, "a network of its own")
	remove := flag.String("remove", "", "a directory to remove at the end")
	flag.Parse()
	if flag.NArg() == 0 {
		fail("usage: supervisor [-bind SRC:DST]... [-small SRC:DST:SIZE]... [-network] [-remove DIR] -- COMMAND [ARGUMENT]...")
	}
	command, err := exec.LookPath(flag.Arg(0))
	if err != nil {
		fail("%v", err)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		fail("become a child subreaper: %v", errno)
	}
	if err := mount(binds, smalls, *network); err != nil {
		fail("%v", err)
	}

	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	// A report to an end that was killed must not end us before the descendants.
	// Not Ignore, which the command would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		fail("%v", err)
	}
	child := &child{command: command, args: flag.Args(), stdin: nothing}
	child.serve(readLines(), ended, stop)
	killDescendants()
	if *remove != "" {
		if err := os.RemoveAll(*remove); err != nil {
			fail("%v", err)
		}
	}
}

// mount makes a mount namespace of our own with what each SRC:DST and SRC:DST:SIZE says. Private
// propagation keeps the mounts from being seen outside. A network of our own needs one
// as well: /sys shows the devices of the network in which it was mounted.
func mount(binds, smalls []string, network bool) error {
	if len(binds) == 0 && len(smalls) == 0 && !network {
		return nil
	}
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace (needs root): %w", err)
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if network {
		if err := ownNetwork(); err != nil {
			return err
		}
	}
	for _, bind := range binds {
		source, target, found := strings.Cut(bind, ":")
		if !found {
			return fmt.Errorf("-bind %q: SRC:DST expected", bind)
		}
		// A mount needs a directory below it; where there was none, an empty one stays.
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(source, target, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s to %s: %w", source, target, err)
		}
	}
	for _, small := range smalls {
		parts := strings.Split(small, ":")
		if len(parts) != 3 {
			return fmt.Errorf("-small %q: SRC:DST:SIZE expected", small)
		}
		source, target, size := parts[0], parts[1], parts[2]
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount("tmpfs", target, "tmpfs", 0, "size="+size); err != nil {
			return fmt.Errorf("file system of %s at %s: %w", size, target, err)
		}
		if err := os.CopyFS(target, os.DirFS(source)); err != nil {
			return err
		}
	}
	return nil
}

// ownNetwork makes a network namespace and brings its loopback device up.
func ownNetwork() error {
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		return fmt.Errorf("network namespace (needs root): %w", err)
	}
	if err := syscall.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("/sys of the network namespace: %w", err)
	}
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("loopback device: %w", err)
	}
	defer syscall.Close(socket)
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP}
	copy(request.name[:], "lo")
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return fmt.Errorf("loopback device: %w", errno)
	}
	return nil
}

// child is the one command; pid is 0 while it does not run.
type child struct {
	command string
	args    []string
	stdin   *os.File
	pid     int
}

// serve returns when the orders end or when it is told to stop.
func (c *child) serve(orders <-chan string, ended, stop <-chan os.Signal) {
	for {
		select {
		case order, open := <-orders:
			if !open {
				return
			}
			if err := c.obey(order); err != nil {
				say("error %v", err)
			}
		case <-ended:
			for pid, status := reap(); pid > 0; pid, status = reap() {
				c.exited(pid, status)
			}
		case <-stop:
			return
		}
	}
}

func (c *child) obey(order string) error {
	verb, argument, _ := strings.Cut(order, " ")
	switch verb {
	case "start":
		if c.pid != 0 {
			return fmt.Errorf("start: already runs as %d", c.pid)
		}
		pid, err := syscall.ForkExec(c.command, c.args, &syscall.ProcAttr{
			Env:   os.Environ(),
			Files: []uintptr{c.stdin.Fd(), 2, 2},
			// Its own session: a Ctrl-C at the terminal is ours to act on.
			Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
		})
		if err != nil {
			return fmt.Errorf("start %s: %w", c.command, err)
		}
		c.pid = pid
		say("started %d", pid)
	case "signal":
		number, known := signals[argument]
		if !known {
			return fmt.Errorf("signal: unknown name %q", argument)
		}
		if c.pid == 0 {
			return errors.New("signal: the command does not run")
		}
		if err := syscall.Kill(c.pid, number); err != nil {
			return fmt.Errorf("signal %s to %d: %w", argument, c.pid, err)
		}
		say("signalled %d", c.pid)
	default:
		return fmt.Errorf("unknown order %q: start or signal NAME", order)
	}
	return nil
}

func (c *child) exited(pid int, status syscall.WaitStatus) {
	if pid != c.pid {
		return // an orphan that we adopted
	}
	c.pid = 0
	if !status.Signaled() {
		say("exited %d", status.ExitStatus())
		return
	}
	for name, number := range signals {
		if number == status.Signal() {
			say("exited %s", name)
			return
		}
	}
	say("exited signal-%d", status.Signal())
}

// reap collects one ended child without waiting; the pid is 0 or less if none is left.
func reap() (int, syscall.WaitStatus) {
	var status syscall.WaitStatus
	pid, _ := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	return pid, status
}

func readLines() <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(os.Stdin)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
	}()
	return lines
}

// say writes one line for the other end; nobody may be there any more.
func say(format string, values ...any) {
	fmt.Printf(format+"\n", values...)
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "supervisor: "+format+"\n", values...)
	os.Exit(1)
}
