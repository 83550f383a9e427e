// Which clients are on the server's own machine: requests of an operator are taken from these only.
#pragma once

#include <boost/asio/ip/address.hpp>

namespace tallystick {

// 127.0.0.0/8, ::1, and the former mapped into IPv6.
inline bool IsLoopback(const boost::asio::ip::address& peer) {
  if (peer.is_v6() && peer.to_v6().is_v4_mapped()) {
    return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, peer.to_v6()).is_loopback();
  }
  return peer.is_loopback();
}

}  // namespace tallystick
