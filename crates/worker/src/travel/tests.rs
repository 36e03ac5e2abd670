//! Everything that can travel, from one end to the other.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use poolctl_sys::{memfd, transfer};
use proptest::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::*;

/// The bytes of one value that goes by serde.
fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.value(value).unwrap();
    assert_eq!(encoder.parcel_bytes(), 0);
    encoder.into_parts().0
}

/// A file that says what it is.
fn file(text: &str) -> Arc<OwnedFd> {
    Arc::new(memfd::with_contents("test", text.as_bytes()).unwrap())
}

fn text_of(descriptor: &impl AsFd) -> String {
    let bytes = transfer::read_vec_at::<u8>(descriptor.as_fd(), 3, 0).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A handle as a shared object is one: it travels as a descriptor, whatever stands around it.
#[derive(Debug)]
struct Handle(Arc<OwnedFd>);

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = attachments::attach(self.0.clone()).map_err(serde::ser::Error::custom)?;
        serializer.serialize_u32(index)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        let descriptor = attachments::take(index).map_err(serde::de::Error::custom)?;
        Ok(Self(Arc::new(descriptor)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn values_and_buffers_arrive_in_their_order(
        first: (i64, String),
        floats: Vec<f64>,
        nested in prop::collection::vec(any::<((u8, Option<char>), [String; 2])>(), 0..5),
        bytes: Vec<u8>,
    ) {
        let mut encoder = Encoder::new();
        encoder.value(&first).unwrap();
        encoder.slice(&floats);
        encoder.value(&nested).unwrap();
        encoder.slice(&bytes);

        let main = encoder.main();
        let mut decoder = Decoder::new(main);

        prop_assert_eq!(decoder.value::<(i64, String)>().unwrap(), first);
        // Compared by bits: a NaN is a value too.
        let back: Vec<f64> = decoder.vec().unwrap();
        prop_assert_eq!(
            back.iter().map(|float| float.to_bits()).collect::<Vec<_>>(),
            floats.iter().map(|float| float.to_bits()).collect::<Vec<_>>()
        );
        prop_assert_eq!(decoder.value::<Vec<((u8, Option<char>), [String; 2])>>().unwrap(), nested);
        prop_assert_eq!(&decoder.vec::<u8>().unwrap(), &bytes);
        prop_assert!(decoder.finish().is_ok());
    }

    #[test]
    fn no_bytes_break_the_decoder(bytes: Vec<u8>) {
        let mut decoder = Decoder::new(&bytes);

        let buffer = decoder.vec::<u32>();

        prop_assert!(buffer.is_err() || bytes.len() >= 9);
    }
}

#[test]
fn a_long_text_arrives() {
    let text = "é".repeat(512 << 10);

    let bytes = encoded(&text);

    assert_eq!(Decoder::new(&bytes).value::<String>().unwrap(), text);
}

#[test]
fn big_buffers_lie_out_of_band_and_small_ones_do_not() {
    let (small, big, bytes) = (vec![1_i32; 3], vec![2.5_f64; 1 << 17], vec![7_u8; OUT_OF_BAND_BYTES + 1]);
    let mut encoder = Encoder::new();
    encoder.slice(&big);
    encoder.slice(&small);
    encoder.slice(&bytes);
    let base = parcel_base(encoder.main().len() as u64);
    let parcel = memfd::sealed("test", base + encoder.parcel_bytes()).unwrap();

    encoder.write_buffers(parcel.as_fd(), base).unwrap();

    assert!(encoder.main().len() < 100);
    let mut decoder = Decoder::with_parcel(encoder.main(), Parcel::Segment { fd: parcel.as_fd(), base });
    assert_eq!(decoder.vec::<f64>().unwrap(), big);
    assert_eq!(decoder.vec::<i32>().unwrap(), small);
    assert_eq!(decoder.vec::<u8>().unwrap(), bytes);
    decoder.finish().unwrap();
}

#[test]
fn the_parcel_of_an_argument_is_its_last_attachment() {
    let big = vec![3_u64; OUT_OF_BAND_BYTES];
    let mut encoder = Encoder::new();
    encoder.value(&Handle(file("one"))).unwrap();
    encoder.slice(&big);
    let parcel = memfd::sealed("test", encoder.parcel_bytes()).unwrap();

    encoder.write_buffers(parcel.as_fd(), 0).unwrap();

    let handle = encoder.attachments()[0].as_fd().try_clone_to_owned().unwrap();
    let mut decoder = Decoder::with_attachments(encoder.main(), vec![handle, parcel]);
    assert_eq!(text_of(&decoder.value::<Handle>().unwrap().0), "one");
    assert_eq!(decoder.vec::<u64>().unwrap(), big);
}

#[test]
fn a_buffer_whose_parcel_did_not_come_along_is_an_error() {
    let big = vec![3_u64; OUT_OF_BAND_BYTES];
    let mut encoder = Encoder::new();
    encoder.slice(&big);

    let refused = Decoder::new(encoder.main()).vec::<u64>().unwrap_err();

    assert_eq!(refused.to_string(), "there is no buffer of u64, but one in a parcel that did not come along");
}

#[test]
fn elements_of_no_size_are_counted() {
    let nothings = vec![(); 5];
    let mut encoder = Encoder::new();
    encoder.slice(&nothings);

    assert_eq!(Decoder::new(encoder.main()).vec::<()>().unwrap(), nothings);
}

#[test]
fn handles_in_several_values_have_one_count() {
    let mut encoder = Encoder::new();
    let by_hand = encoder.attach(file("one"));
    encoder.value(&(Handle(file("two")), vec![Handle(file("six"))])).unwrap();
    encoder.value(&Some(Handle(file("ten")))).unwrap();

    let (main, descriptors) = encoder.into_parts();

    assert_eq!(by_hand, 0);
    let texts: Vec<String> = descriptors.iter().map(text_of).collect();
    assert_eq!(texts, ["one", "two", "six", "ten"]);
    let received =
        descriptors.iter().map(|descriptor| descriptor.as_fd().try_clone_to_owned().unwrap()).collect();
    let mut decoder = Decoder::with_attachments(&main, received);
    let (second, third) = decoder.value::<(Handle, Vec<Handle>)>().unwrap();
    let fourth = decoder.value::<Option<Handle>>().unwrap().unwrap();
    assert_eq!([&second, &third[0], &fourth].map(|handle| text_of(&handle.0)), ["two", "six", "ten"]);
}

#[test]
fn a_handle_is_nothing_outside_of_a_task_s_arguments() {
    let attached = attachments::attach(file("one"));
    let taken = attachments::take(0);
    let written = serde_json::to_string(&Handle(file("two")));

    assert_eq!(attached.unwrap_err(), attachments::AttachError::NotEncoding);
    assert_eq!(taken.unwrap_err(), attachments::TakeError::NotDecoding);
    assert_eq!(written.unwrap_err().to_string(), "a handle can only be an argument of a native task");
}

#[test]
fn a_descriptor_is_taken_once() {
    let mut encoder = Encoder::new();
    encoder.value(&Handle(file("one"))).unwrap();
    let twice = [encoder.main(), encoder.main()].concat();
    let mut decoder = Decoder::with_attachments(
        &twice,
        vec![encoder.attachments()[0].as_fd().try_clone_to_owned().unwrap()],
    );

    decoder.value::<Handle>().unwrap();

    assert!(decoder.value::<Handle>().is_err());
}

#[test]
fn a_value_that_panics_while_it_is_encoded_leaves_no_trace() {
    struct Panics;
    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("in the middle");
        }
    }
    let panicked = std::panic::catch_unwind(|| {
        let mut encoder = Encoder::new();
        encoder.value(&(Handle(file("one")), Panics)).is_ok()
    });

    let mut encoder = Encoder::new();
    encoder.value(&Handle(file("two"))).unwrap();

    assert!(panicked.is_err());
    assert_eq!(encoder.attachments().iter().map(text_of).collect::<Vec<_>>(), ["two"]);
    assert_eq!(attachments::attach(file("six")).unwrap_err(), attachments::AttachError::NotEncoding);
}

#[test]
fn too_few_bytes_name_the_type() {
    let error = Decoder::new(b"\x01\x02").value::<i64>().unwrap_err();

    assert_eq!(error.to_string(), "failed to decode a value of type i64");
}

#[test]
fn bytes_behind_the_last_value_are_an_error() {
    let bytes = encoded(&(1_i64, 2_i64));
    let mut decoder = Decoder::new(&bytes);

    decoder.value::<i64>().unwrap();

    assert!(matches!(decoder.finish(), Err(DecodeError::Trailing { bytes: 8 })));
}

#[test]
#[expect(clippy::needless_borrow, reason = "as expansions write it")]
fn the_way_is_chosen_by_the_type() {
    // Plain data that serde does not know: its arrays end at 32.
    type Alone = [u8; 64];

    let (numbers, texts, alone) = (vec![1_u16, 2], vec!["a".to_owned()], vec![[7; 64]]);
    let _: ByBits = (&&&&Probe::<i64>::NEW).way();
    let _: ByValue = (&&&&Probe::<bool>::NEW).way();
    let _: ByValue = (&&&&Probe::<(i64, i64)>::NEW).way();
    let _: ByBytes = (&&&&Probe::<Vec<u16>>::NEW).way();
    let _: ByValue = (&&&&Probe::<Vec<String>>::NEW).way();
    let _: ByBytesAlone = (&&&&Probe::<Vec<Alone>>::NEW).way();
    let mut encoder = Encoder::new();

    ByBits.encode(&-7_i16, &mut encoder).unwrap();
    ByBytes.encode(&numbers, &mut encoder).unwrap();
    ByValue.encode(&texts, &mut encoder).unwrap();
    ByBytesAlone.encode(&alone, &mut encoder).unwrap();

    let mut decoder = Decoder::new(encoder.main());
    assert_eq!(Way::<i16>::decode(ByBits, &mut decoder).unwrap(), -7);
    assert_eq!(Way::<Vec<u16>>::decode(ByBytes, &mut decoder).unwrap(), numbers);
    assert_eq!(Way::<Vec<String>>::decode(ByValue, &mut decoder).unwrap(), texts);
    assert_eq!(Way::<Vec<Alone>>::decode(ByBytesAlone, &mut decoder).unwrap(), alone);
    let refused = ByBytesAlone.write_json(&alone, &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("has no form in JSON"), "{refused}");
}
