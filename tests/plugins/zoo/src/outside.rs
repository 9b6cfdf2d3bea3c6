//! Every way that a guest could try to get out of its sandbox, through its language's library and below it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use wasip2::cli::environment;
use wasip2::filesystem::preopens;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily};
use wasip2::sockets::{instance_network, ip_name_lookup, tcp_create_socket, udp_create_socket};

use crate::orders::text;

/// What was tried, and what came of it.
pub fn attempts() -> Vec<(&'static str, String)> {
    let (folder, tcp, udp) = (text("folder", "/tmp"), text("tcp", "127.0.0.1:9465"), text("udp", "127.0.0.1:9465"));
    let mut input = String::new();
    vec![
        ("read absolute", result_text(fs::read("/etc/passwd"))),
        ("read relative", result_text(fs::read("pharos.toml"))),
        ("read upwards", result_text(fs::read("../../../../../../etc/passwd"))),
        ("read proc", result_text(fs::read("/proc/self/environ"))),
        ("list root", result_text(fs::read_dir("/"))),
        ("list here", result_text(fs::read_dir("."))),
        ("look", result_text(fs::metadata(&folder))),
        ("create", result_text(File::create(format!("{folder}/created")))),
        ("append", result_text(OpenOptions::new().append(true).create(true).open(format!("{folder}/appended")))),
        ("make folder", result_text(fs::create_dir(format!("{folder}/folder")))),
        ("remove", result_text(fs::remove_file(format!("{folder}/precious")))),
        ("rename", result_text(fs::rename(format!("{folder}/precious"), format!("{folder}/moved")))),
        ("connect", result_text(TcpStream::connect(&tcp))),
        ("listen", result_text(TcpListener::bind("127.0.0.1:0"))),
        ("bind UDP", result_text(UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"out", &udp)))),
        ("resolve", result_text("localhost:80".to_socket_addrs())),
        ("WASI folders", format!("{} of them", preopens::get_directories().len())),
        ("WASI TCP", code(tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4))),
        ("WASI TCP 6", code(tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv6))),
        ("WASI UDP", code(udp_create_socket::create_udp_socket(IpAddressFamily::Ipv4))),
        ("WASI resolve", code(ip_name_lookup::resolve_addresses(&instance_network::instance_network(), "localhost"))),
        ("environment", format!("{} variables", environment::get_environment().len())),
        ("arguments", format!("{} of them", environment::get_arguments().len())),
        ("folder of start", format!("{:?}", environment::initial_cwd())),
        ("input", io::stdin().read_to_string(&mut input).map_or_else(|err| format!("refused: {err}"), |bytes| format!("{bytes} bytes"))),
    ]
}

fn result_text<T>(outcome: io::Result<T>) -> String {
    outcome.map_or_else(|err| format!("refused: {err}"), |_| "reached".to_owned())
}

fn code<T>(outcome: Result<T, ErrorCode>) -> String {
    outcome.map_or_else(|code| format!("refused: {}", code.name()), |_| "reached".to_owned())
}
