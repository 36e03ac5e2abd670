//! What does not go through the rings: parcels and slices.

use std::os::fd::AsFd;

use poolctl_sys::{memfd, transfer};

use super::host::{Host, Said, bytes_of, double, flip, panic_at_seven, repeat};
use crate::travel::{Encoder, parcel_base};
use crate::{Landed, Task};

#[test]
fn an_item_in_a_parcel_is_read_from_there() {
    let mut host = Host::new();
    let item = bytes_of(repeat, &("x".repeat(300_000), 0));

    host.post(double, &[1]);
    host.post_parcel(repeat, &item);
    host.post(double, &[2]);

    assert_eq!(host.next_of(double), 2);
    assert_eq!(host.next_of(repeat), "");
    assert_eq!(host.next_of(double), 4);
    host.end();
}

#[test]
fn a_text_of_a_megabyte_comes_back_in_a_parcel() {
    let mut host = Host::new();

    host.post(repeat, &[("ab".to_owned(), 1 << 19)]);

    let Said::Parcel(main, whole) = host.next() else { panic!("no parcel") };
    assert_eq!((main, whole), ((1 << 20) + 8, (1 << 20) + 8));
    let landed = Landed::new(host.granted[0].0.as_fd(), main).unwrap();
    assert_eq!(repeat::decode_output(&mut landed.decoder()).unwrap(), "ab".repeat(1 << 19));
    host.end();
}

#[test]
fn buffers_come_in_a_parcel_and_go_in_another() {
    let mut host = Host::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let mut encoder = Encoder::new();
    flip::encode_args(&bytes, &mut encoder).unwrap();
    let parcel = memfd::sealed("test", encoder.parcel_bytes()).unwrap();
    encoder.write_buffers(parcel.as_fd(), 0).unwrap();
    let header = host.header(flip, poolctl_protocol::MessageKind::Chunk, poolctl_protocol::Encoding::Binary);

    host.send(poolctl_protocol::Kind::Attachments, 1, &[parcel]);
    host.post_message(
        poolctl_protocol::MessageHeader { attachments: 1, ..header },
        &[encoder.main().to_vec()],
    );

    let Said::Parcel(main, whole) = host.next() else { panic!("no parcel") };
    assert_eq!(whole, parcel_base(main) + (1 << 20));
    assert_eq!(host.granted[0].1, whole);
    let landed = Landed::new(host.granted[0].0.as_fd(), main).unwrap();
    let flipped = flip::decode_output(&mut landed.decoder()).unwrap();
    assert!(flipped.iter().eq(bytes.iter().rev()));
    host.end();
}

#[test]
fn descriptors_that_arrive_while_a_segment_is_awaited_wait_for_their_message() {
    let mut host = Host::new();
    let item = bytes_of(repeat, &("y".repeat(100_000), 1));

    // The worker asks for a segment for the first while the second one's descriptors lie in the socket.
    host.post(repeat, &[("x".to_owned(), 100_000)]);
    host.post_parcel(repeat, &item);

    for _ in 0..2 {
        assert!(matches!(host.next(), Said::Parcel(100_008, 100_008)));
    }
    host.end();
}

#[test]
fn pieces_of_a_slice_go_from_segment_to_segment() {
    let mut host = Host::new();
    let numbers: Vec<i64> = (0..50_000).collect();
    let input = memfd::with_contents("test", bytemuck::cast_slice(&numbers)).unwrap();
    let output = memfd::sealed("test", 400_000).unwrap();
    let segments = [input, output];

    host.post_slice(double, &segments, 25_000, 25_000);
    host.post_slice(double, &segments, 0, 25_000);
    host.post_slice(repeat, &segments, 0, 1);

    assert_eq!([host.next(), host.next()], [Said::Ok(vec![]), Said::Ok(vec![])]);
    let refused = host.next_error();
    assert_eq!(refused.msg, "`life.repeat` does not map plain data to plain data");
    let results: Vec<i64> = transfer::read_vec_at(segments[1].as_fd(), 50_000, 0).unwrap();
    assert!(results.iter().zip(&numbers).all(|(result, number)| *result == number * 2));
    host.end();
}

#[test]
fn the_element_that_panics_in_a_slice_is_named() {
    let mut host = Host::new();
    let numbers: Vec<i64> = (0..50_000).map(|number| if number == 33_333 { 7 } else { 0 }).collect();
    let input = memfd::with_contents("test", bytemuck::cast_slice(&numbers)).unwrap();
    let output = memfd::sealed("test", 400_000).unwrap();

    host.post_slice(panic_at_seven, &[input, output], 10, 49_990);
    host.post(panic_at_seven, &[7]);

    assert_eq!(host.next_error().msg, "element 33333: seven: 7");
    assert_eq!(host.next_error().msg, "seven: 7");
    host.end();
}
