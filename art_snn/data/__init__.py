"""Data sets as arrays, with fixed splits."""

from art_snn.data.archives import read_npz, write_npz
from art_snn.data.atis import read_ncaltech101, read_nmnist
from art_snn.data.cifar10_dvs import read_cifar10_dvs
from art_snn.data.dvs_gesture import read_dvs_gesture
from art_snn.data.event_frames import load_event_frames
from art_snn.data.frames import Framing, to_frames
from art_snn.data.images import load_cifar, load_digits, load_image_folder
from art_snn.data.rebuilt import Rebuilt, to_recordings
from art_snn.data.recordings import Recordings, join
from art_snn.data.sources import Source, register_source, source
from art_snn.data.spikingjelly import read_spikingjelly
from art_snn.data.split import Split, stratified, stratified_part
from art_snn.data.tonic import from_tonic

__all__ = [
    "Framing",
    "Rebuilt",
    "Recordings",
    "Source",
    "Split",
    "from_tonic",
    "join",
    "load_cifar",
    "load_digits",
    "load_event_frames",
    "load_image_folder",
    "read_cifar10_dvs",
    "read_dvs_gesture",
    "read_ncaltech101",
    "read_nmnist",
    "read_npz",
    "read_spikingjelly",
    "register_source",
    "source",
    "stratified",
    "stratified_part",
    "to_frames",
    "to_recordings",
    "write_npz",
]
