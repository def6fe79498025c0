//! Options and files → QEMU's arguments.

use crate::artefacts::Boot;
use crate::config::{Entry, Options};
use std::path::Path;
use std::process::Command;

/// Where the guest's console goes.
#[derive(Clone, Copy, Debug)]
pub enum Console<'a> {
    /// QEMU's standard input and output, both pipes of ours.
    Pipes,
    /// The terminal; Ctrl-A x ends QEMU, Ctrl-A c is its monitor.
    Terminal,
    /// Pipes, and the machine waits for gdb at this socket before its first instruction.
    Halted(&'a Path),
    /// A recording is replayed, which waits for gdb at this socket: nothing is typed, and what is written was seen
    /// when it was recorded.
    Replayed(&'a Path),
}

/// The command that starts QEMU. Its standard streams are left to the caller.
#[must_use]
pub fn qemu(options: &Options, boot: &Boot, console: Console<'_>) -> Command {
    let mut command = Command::new(&options.qemu);
    let virtualization = match options.entry {
        Entry::El1 => "",
        Entry::El2 => ",virtualization=on",
    };
    let cpu = match options.cpu_options.as_str() {
        "" => options.cpu.clone(),
        more => format!("{},{more}", options.cpu),
    };
    command
        .args(["-M", &format!("{}{virtualization}", options.machine)])
        .args(["-cpu", &cpu])
        .args(["-smp", &options.smp.to_string()])
        .args(["-m", &options.mem])
        .args(&options.args)
        .arg("-kernel")
        .arg(&boot.image)
        .arg("-initrd")
        .arg(&boot.initrd)
        .args(["-append", &options.append]);
    match console {
        Console::Pipes => {
            command.args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"])
        }
        Console::Terminal => command.args(["-serial", "mon:stdio"]),
        Console::Halted(socket) => {
            command.args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
            wait_for_gdb(&mut command, socket)
        }
        Console::Replayed(socket) => {
            command.args(["-chardev", "null,id=console", "-serial", "chardev:console"]);
            wait_for_gdb(&mut command, socket)
        }
    };
    command
}

/// The machine waits at `socket` before its first instruction.
fn wait_for_gdb<'a>(command: &'a mut Command, socket: &Path) -> &'a mut Command {
    command
        .arg("-S")
        .args(["-chardev", &format!("socket,id=gdb,path={},server=on,wait=off", socket.display())])
        .args(["-gdb", "chardev:gdb"])
}
